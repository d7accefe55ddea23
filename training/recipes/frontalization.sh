#!/usr/bin/env bash
# Train the starter that turns faces to the front again, from the starter for photos; half an hour on one core.
#
# From the root of a checkout, with the package and its [training] extra installed. It goes on where it was stopped.
# What it gave is in frontalization.md.
set -euo pipefail

photos=${PHOTOS:-photos}              # aligned photos of faces to train on: 2,076 for the starter
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the figures
out=${OUT:-runs/recipes}              # everything that is made

# Pictures of turned faces with the styles of the same faces looking straight ahead: of generated faces, and of photos,
# whose styles are those that the starter for photos finds.
python training/recipes/make_pairs.py --output_dir "$out/turned-pairs" --num_pairs 500
python training/recipes/frontal_pairs.py --pairs_dir "$out/turned-pairs" --output_dir "$out/frontal-pairs"
python training/recipes/distil_pairs.py --faces_dir "$photos" --model inversion --share 1 --copies 2 \
    --output_dir "$out/read-photos"
python training/recipes/frontal_pairs.py --pairs_dir "$out/read-photos" --output_dir "$out/frontal-photos"

# The starter for photos, its coarse styles moved along `turn` by what its features say of it; then some steps in which
# the error of these styles alone counts.
if [ ! -d "$out/folded" ]; then
    python training/recipes/fold_direction.py inversion --direction turn --task frontalization \
        --pairs_dir "$out/frontal-photos" "$out/frontal-pairs" --output_dir "$out/folded"
fi
accelerate launch training/train.py --task frontalization --resume_from_checkpoint latest \
    --output_dir "$out/frontalization" --pretrained_model_name_or_path "$out/folded" \
    --pairs_dir "$out/frontal-photos" "$out/frontal-pairs" --num_validation_pairs 100 --w_weight 1 --l2_weight 0 \
    --lpips_weight 0 --l2_crop_weight 0 --lpips_crop_weight 0 --id_weight 0 --w_norm_weight 0 --learning_rate 2e-4 \
    --lr_warmup_steps 10 --max_train_steps 120 --ema_decay 0.98

python training/evaluate.py "$out/frontalization/model" "$faces" --recogniser "$recogniser" \
    --output_dir "$out/frontalization-report"
# What the starter for photos keeps of the same faces, which it does not turn.
python training/evaluate.py inversion "$faces" --task frontalization --recogniser "$recogniser" \
    --output_dir "$out/frontalization-inversion-report"
