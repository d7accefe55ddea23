#!/usr/bin/env bash
# Train the starter for small photos again, in one run of half an hour on one core of a laptop.
#
# Run inversion.sh first: this begins with its eighth run. From the root of a checkout; it goes on where it was stopped.
set -euo pipefail

photos=${PHOTOS:-photos}              # 2,076 aligned photos of faces to train on
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the identity loss and its figures
out=${OUT:-runs/recipes}              # where inversion.sh left its pairs, its small generator and its runs

accelerate launch training/train.py --task super-resolution --pretrained_model_name_or_path "$out/inversion-8/model" \
    --optimizer soap --pairs_dir "$out/turned-pairs" --num_validation_pairs 64 --target_dir "$photos" --photo_repeats 6 \
    --factors 4 8 16 16 32 --blur_share 0.2 --jpeg_share 0.2 --color_jitter 0.4 --frame_jitter 0.5 --shape_jitter 0.6 \
    --relit_pairs 0.4 --blended_photos 0.4 --decode_net "$out/small-64.safetensors" --decode_precision auto \
    --decode_batch_size 4 --recogniser "$recogniser" --w_weight 0.05 --l2_weight 2 --l2_face_strength 3 --id_weight 0.6 \
    --lpips_weight 0 --w_norm_weight 0 --learning_rate 5e-4 --lr_warmup_steps 20 --max_train_steps 330 \
    --ema_decay 0.99 --output_dir "$out/super-resolution" --resume_from_checkpoint latest

for factor in 8 16; do
    python training/evaluate.py "$out/super-resolution/model" "$faces" --factors "$factor" --refinement_steps 80 \
        --num_optimized 40 --recogniser "$recogniser" --output_dir "$out/super-resolution-report-$factor"
done
