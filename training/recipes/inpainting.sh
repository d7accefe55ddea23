#!/usr/bin/env bash
# Train the starter for photos with a gap again, in one run of half an hour on one core of a laptop.
#
# It begins with the eighth run of inversion.sh, which has to be there. Run it from the root of a checkout, as that;
# what was stopped goes on.
set -euo pipefail

out=${OUT:-runs/recipes}              # where inversion.sh left its pairs, its small generator and its runs
photos=${PHOTOS:-photos}              # 2,076 aligned photos of faces to train on
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the identity loss and its figures

data=(--pairs_dir "$out/turned-pairs" --num_validation_pairs 64 --target_dir "$photos" --photo_repeats 6
    --color_jitter 0.4 --frame_jitter 0.5 --shape_jitter 0.6 --relit_pairs 0.4 --blended_photos 0.4)
losses=(--decode_net "$out/small-64.safetensors" --decode_precision auto --decode_batch_size 4
    --recogniser "$recogniser" --w_weight 0.05 --l2_weight 2 --l2_face_strength 3 --id_weight 0.4 --lpips_weight 0
    --w_norm_weight 0)
accelerate launch training/train.py --task inpainting --pretrained_model_name_or_path "$out/inversion-8/model" \
    "${data[@]}" "${losses[@]}" --optimizer soap --learning_rate 6e-4 --lr_warmup_steps 20 --max_train_steps 200 \
    --ema_decay 0.99 --output_dir "$out/inpainting" --resume_from_checkpoint latest

python training/evaluate.py "$out/inpainting/model" "$faces" --recogniser "$recogniser" --refinement_steps 40 \
    --num_optimized 20 --output_dir "$out/inpainting-report"
