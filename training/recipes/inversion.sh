#!/usr/bin/env bash
# Train the starter for photos again, in ten runs, and a residual encoder in four; some fourteen hours on one core of
# a laptop.
#
# Run it from the root of a checkout, with the package and its [training] extra installed. It can be stopped and run
# again at any time: every step goes on where it was. What each run gave is in inversion.md.
set -euo pipefail

photos=${PHOTOS:-photos}              # 700 aligned photos of faces to train on
more_photos=${MORE_PHOTOS:-more-photos}  # these and 1,376 others, for the runs from the sixth on
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the identity loss and its figures
out=${OUT:-runs/recipes}              # everything that is made; 18,500 + 4,000 + 5,000 pairs and a dozen models

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
pictures=(--num_validation_pairs 64 --target_dir "$photos" --decode_net "$small" --decode_precision auto
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

# 5. Pairs with mixed styles.
train --output_dir "$out/inversion-5" --pretrained_model_name_or_path "$out/inversion-4/model" \
    --pairs_dir "$out/pairs" "$out/mixed-pairs" "${relit[@]}" --photo_repeats 10 --w_weight 0.05 --l2_weight 2 \
    --id_weight 0.4 --max_train_steps 1300 --ema_decay 0.995

# To compare with: the same encoder after 900 more steps in which only the error of w counts. It is also the teacher of
# the sketch starter.
train --output_dir "$out/w-only" --pretrained_model_name_or_path "$out/inversion-5/model" --pairs_dir "$out/pairs" \
    --num_validation_pairs 500 --w_weight 1 --l2_weight 0 --id_weight 0 --lpips_weight 0 --w_norm_weight 0 \
    --learning_rate 5e-4 --lr_warmup_steps 30 --max_train_steps 900 --ema_decay 0.99

# 6. Three times the photos. It was done with 5,000 other pairs.
python training/recipes/make_pairs.py --output_dir "$out/turned-pairs" --num_pairs 5000
more=(--pairs_dir "$out/turned-pairs" --num_validation_pairs 64 --target_dir "$more_photos" --photo_repeats 6
    --decode_net "$small" --decode_precision auto --decode_batch_size 4 --recogniser "$recogniser" --lpips_weight 0
    --color_jitter 0.4 --frame_jitter 0.5 --relit_pairs 0.4 --w_norm_weight 0 --w_weight 0.05)
train --output_dir "$out/inversion-6" --pretrained_model_name_or_path "$out/inversion-5/model" "${more[@]}" \
    --l2_weight 2 --id_weight 0.4 --learning_rate 5e-4 --lr_warmup_steps 30 --max_train_steps 1000 --ema_decay 0.995

# 7. Faces pulled into other shapes, and features counted more than the background.
train --output_dir "$out/inversion-7" --pretrained_model_name_or_path "$out/inversion-6/model" "${more[@]}" \
    --shape_jitter 0.6 --l2_weight 2 --l2_face_strength 3 --id_weight 0.4 --learning_rate 5e-4 --lr_warmup_steps 30 \
    --max_train_steps 1100 --ema_decay 0.995

# 8. SOAP instead of AdamW, and people whom no photo shows. Super-resolution and inpainting begin with it.
soap=(--optimizer soap --ema_decay 0.99 --shape_jitter 0.6)
train --output_dir "$out/inversion-8" --pretrained_model_name_or_path "$out/inversion-7/model" "${more[@]}" \
    "${soap[@]}" --blended_photos 0.4 --l2_weight 2 --l2_face_strength 3 --id_weight 0.5 --learning_rate 7e-4 \
    --lr_warmup_steps 20 --max_train_steps 800

# 9. A deeper encoder with a fine stem.
if [ ! -d "$out/inversion-deeper" ]; then
    python training/recipes/grow_encoder.py "$out/inversion-8/model" --stage_depths 3 3 3 --fine_widths 32 48 64 \
        --output_dir "$out/inversion-deeper"
fi
train --output_dir "$out/inversion-9" --pretrained_model_name_or_path "$out/inversion-deeper" "${more[@]}" \
    "${soap[@]}" --blended_photos 0.5 --l2_weight 2.5 --l2_face_strength 2 --id_weight 0.6 --learning_rate 7e-4 \
    --lr_warmup_steps 30 --max_train_steps 620

# A second look, by a residual encoder: at the answers of the sixth run first, then at those of the seventh, at last with
# SOAP. The ninth is better than both, and the mistakes that are left are alike.
look=(--residual_encoder --num_passes 2 --face_size 64 --shape_jitter 0.6 --l2_weight 2 --l2_face_strength 3)
join() {
    python training/recipes/join_encoders.py "$out/$1/model" "$out/$2/model" --output_dir "$out/$3/model" "${@:4}"
}
train --output_dir "$out/residual-1" --pretrained_model_name_or_path "$out/inversion-6/model" "${more[@]}" "${look[@]}" \
    --id_weight 0.4 --learning_rate 1e-3 --lr_warmup_steps 30 --max_train_steps 500 --ema_decay 0.995
join inversion-7 residual-1 joined-7
train --output_dir "$out/residual-2" --pretrained_model_name_or_path "$out/joined-7/model" "${more[@]}" "${look[@]}" \
    --id_weight 0.6 --learning_rate 8e-4 --lr_warmup_steps 30 --max_train_steps 192 --ema_decay 0.995
train --output_dir "$out/residual-3" --pretrained_model_name_or_path "$out/residual-2/model" "${more[@]}" "${look[@]}" \
    --optimizer soap --blended_photos 0.4 --id_weight 0.5 --learning_rate 8e-4 --lr_warmup_steps 20 \
    --max_train_steps 600 --ema_decay 0.99
# Both, with a smaller layer for the base style, so that they fit into 24 MiB.
join inversion-9 residual-3 inversion-joined --base_rank 192

# A small copy that is right about what this model answers, too, and a finer eye for the second look.
answered=$out/inversion-joined/model drawn=$out/drawn-photos finer=$out/small-64-drawn.safetensors
python training/recipes/distil_pairs.py --faces_dir "$more_photos" --model "$answered" --share 1 --copies 2 \
    --output_dir "$out/read-photos"
python training/recipes/make_pairs.py --styles_dir "$out/read-photos" --num_pairs 1000 --preview --output_dir "$drawn"
if [ ! -f "$finer" ]; then
    python training/recipes/fit_small_generator.py --pairs_dir "$drawn" "$drawn" "$drawn" "$out/turned-pairs" \
        --size 64 --steps 220 --start_from "$small" --output "$finer"
fi
if [ ! -d "$out/residual-finer" ]; then
    python training/recipes/grow_encoder.py "$answered" --residual --fine_widths 32 48 64 \
        --output_dir "$out/residual-finer"
fi
train --output_dir "$out/residual-4" --pretrained_model_name_or_path "$out/residual-finer" "${more[@]}" "${look[@]}" \
    "${soap[@]}" --decode_net "$finer" --blended_photos 0.5 --l2_face_strength 2 --id_weight 0.7 --train_batch_size 24 \
    --learning_rate 7e-4 --lr_warmup_steps 12 --max_train_steps 190 --ema_decay 0.98

# 10. The first encoder with that copy, too; its mean with where it started, whose second look sees a smaller face.
train --output_dir "$out/inversion-10" --pretrained_model_name_or_path "$out/residual-4/model" --num_passes 1 \
    "${more[@]}" "${soap[@]}" --decode_net "$finer" --blended_photos 0.5 --l2_weight 2.5 --l2_face_strength 2 \
    --id_weight 0.7 --learning_rate 5e-4 --lr_warmup_steps 15 --max_train_steps 230 --ema_decay 0.98
join inversion-10 residual-4 joined-10 --face_size 32
if [ ! -d "$out/mean-10" ]; then
    python training/recipes/average_models.py "$out/joined-10/model" "$out/residual-4/model" --shares 0.6 0.4 \
        --output_dir "$out/mean-10"
fi

python training/evaluate.py "$out/mean-10" "$faces" --recogniser "$recogniser" --passes 1 2 3 \
    --refinement_steps 40 --other_models "$out/w-only/model" --optimization_steps 100 --optimization_spaces w+ \
    --num_optimized 10 --output_dir "$out/inversion-report"
