#!/usr/bin/env bash
# Train an encoder that turns faces to the front, from the starter for photos. Not run to its end yet.
#
# Run inversion.sh first: this uses its pairs and its small generator. From the root of a checkout; it goes on where it
# was stopped.
set -euo pipefail

photos=${PHOTOS:-photos}              # 700 aligned photos of faces to train on
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the identity loss and its figures
out=${OUT:-runs/recipes}              # where inversion.sh left its pairs, its small generator and its runs

# Pictures of turned faces with the styles of the same faces looking straight ahead: of pairs, and of photos, whose
# styles are those that the starter finds.
python training/recipes/frontal_pairs.py --pairs_dir "$out/pairs" --output_dir "$out/frontal-pairs"
python training/recipes/distil_pairs.py --faces_dir "$photos" --model inversion --share 1 --copies 4 \
    --output_dir "$out/read-photos"
python training/recipes/frontal_pairs.py --pairs_dir "$out/read-photos" --output_dir "$out/frontal-photos"

train() {
    accelerate launch training/train.py --task frontalization --resume_from_checkpoint latest "$@"
}

# 1. The error of these styles alone.
train --output_dir "$out/frontalization-1" --pretrained_model_name_or_path inversion \
    --pairs_dir "$out/frontal-pairs" "$out/frontal-photos" --num_validation_pairs 64 --w_weight 1 --l2_weight 0 \
    --lpips_weight 0 --l2_crop_weight 0 --lpips_crop_weight 0 --id_weight 0 --w_norm_weight 0 --learning_rate 3e-4 \
    --lr_warmup_steps 30 --max_train_steps 1000 --ema_decay 0.99

# 2. The paper's recipe on photos: input and target are mirrored independently, the losses look at the middle of the
#    face, and identity counts most. LPIPS of the crop needs a trunk; this goes without it.
train --output_dir "$out/frontalization-2" --pretrained_model_name_or_path "$out/frontalization-1/model" \
    --pairs_dir "$out/frontal-pairs" "$out/frontal-photos" --num_validation_pairs 64 --target_dir "$photos" \
    --photo_repeats 8 --decode_net "$out/small-64.safetensors" --decode_precision bf16 --decode_batch_size 4 \
    --recogniser "$recogniser" --w_weight 0.5 --lpips_weight 0 --lpips_crop_weight 0 --learning_rate 2e-4 \
    --lr_warmup_steps 30 --max_train_steps 400 --ema_decay 0.99

python training/evaluate.py "$out/frontalization-2/model" "$faces" --recogniser "$recogniser" \
    --output_dir "$out/frontalization-report"
# What the starter for photos keeps of the same faces, which it does not turn.
python training/evaluate.py inversion "$faces" --task frontalization --recogniser "$recogniser" \
    --output_dir "$out/frontalization-inversion-report"
