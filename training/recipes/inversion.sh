#!/usr/bin/env bash
# Train the starter for photos again, in five runs; about three and a quarter hours on one core of a laptop.
#
# Run it from the root of a checkout, with the package and its [training] extra installed. It can be stopped and run
# again at any time: every step goes on where it was. What each run gave is in inversion.md.
set -euo pipefail

photos=${PHOTOS:-photos}              # 700 aligned photos of faces to train on
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the identity loss and its figures
out=${OUT:-runs/recipes}              # everything that is made; 18,500 + 4,000 pairs and seven models

small=$out/small-64.safetensors

train() {
    accelerate launch training/train.py --task inversion --resume_from_checkpoint latest "$@"
}

# Pairs of the generator, and a small copy of it that draws for the losses.
python training/recipes/make_pairs.py --output_dir "$out/pairs" --num_pairs 12000 --first_index 1000000
python training/recipes/make_pairs.py --output_dir "$out/more-pairs" --num_pairs 6500 --first_index 2000000
python training/recipes/make_pairs.py --output_dir "$out/mixed-pairs" --num_pairs 4000 --first_index 3000000 \
    --mixed_share 0.6 --preview
if [ ! -f "$small" ]; then
    python training/recipes/fit_small_generator.py --pairs_dir "$out/pairs" --size 64 --steps 300 --output "$small"
fi

# 1. The error of w alone, from scratch.
train --output_dir "$out/inversion-1" --head_widths 128 128 64 --pairs_dir "$out/pairs" "$out/more-pairs" \
    --num_validation_pairs 500 --learning_rate 5e-4 --lr_scheduler constant_with_warmup --lr_warmup_steps 100 \
    --max_train_steps 3000

# What the other runs have in common: pictures of the small copy, compared with pairs and photos.
pictures=(--num_validation_pairs 64 --target_dir "$photos" --decode_net "$small" --decode_precision bf16
    --decode_batch_size 4 --recogniser "$recogniser" --lpips_weight 0 --learning_rate 5e-4)
relit=("${pictures[@]}" --color_jitter 0.4 --frame_jitter 0.5 --relit_pairs 0.4 --w_norm_weight 0 --lr_warmup_steps 30)

# 2. Pictures, too. Planned for 1,600 steps and stopped at 500; with a constant rate, that makes no difference.
train --output_dir "$out/inversion-2" --pretrained_model_name_or_path "$out/inversion-1/model" \
    --pairs_dir "$out/pairs" "$out/more-pairs" "${pictures[@]}" --photo_repeats 10 --w_weight 0.15 --l2_weight 1 \
    --id_weight 0.3 --lr_scheduler constant_with_warmup --lr_warmup_steps 50 --max_train_steps 500

# 3. Photos reframed and relit, and synthetic faces relit. Its model after 400 steps is where the starters for
#    super-resolution and inpainting begin.
train --output_dir "$out/inversion-3" --pretrained_model_name_or_path "$out/inversion-2/model" \
    --pairs_dir "$out/pairs" "$out/more-pairs" "${relit[@]}" --photo_repeats 8 --w_weight 0.1 --l2_weight 1 \
    --id_weight 0.4 --max_train_steps 400

# 4. The squared error doubled.
train --output_dir "$out/inversion-4" --pretrained_model_name_or_path "$out/inversion-3/model" \
    --pairs_dir "$out/pairs" "$out/more-pairs" "${relit[@]}" --photo_repeats 8 --w_weight 0.05 --l2_weight 2 \
    --id_weight 0.4 --max_train_steps 220 --ema_decay 0.99

# 5. Pairs with mixed styles: the starter.
train --output_dir "$out/inversion-5" --pretrained_model_name_or_path "$out/inversion-4/model" \
    --pairs_dir "$out/pairs" "$out/mixed-pairs" "${relit[@]}" --photo_repeats 10 --w_weight 0.05 --l2_weight 2 \
    --id_weight 0.4 --max_train_steps 1300 --ema_decay 0.995

# To compare with: the same encoder after 900 more steps in which only the error of w counts. It is also the teacher of
# the sketch starter.
train --output_dir "$out/w-only" --pretrained_model_name_or_path "$out/inversion-5/model" --pairs_dir "$out/pairs" \
    --num_validation_pairs 500 --w_weight 1 --l2_weight 0 --id_weight 0 --lpips_weight 0 --w_norm_weight 0 \
    --learning_rate 5e-4 --lr_warmup_steps 30 --max_train_steps 900 --ema_decay 0.99

python training/evaluate.py "$out/inversion-5/model" "$faces" --recogniser "$recogniser" --refinement_steps 40 \
    --other_models "$out/w-only/model" --optimization_steps 100 --optimization_spaces w+ --num_optimized 10 \
    --output_dir "$out/inversion-report"
