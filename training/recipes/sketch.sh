#!/usr/bin/env bash
# Train the starter for drawings again, in seventeen runs; some twenty-five hours of one core of a laptop, and as much
# again for pairs and line drawings.
#
# Run inversion.sh first: the small copy of the generator, its pairs and the teacher come from there. Run this from the
# root of a checkout, too; it can be stopped and run again at any time, and goes on where it was. What each run gave,
# and where this script is simpler than what was done, is in sketch.md.
set -euo pipefail

photos=${PHOTOS:-photos}              # 700 aligned photos of faces to train on
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
recogniser=${RECOGNISER:-mobilefacenet_128d.safetensors}  # MobileFaceNet, for the identity losses and their figures
edges=${EDGES:-hed_vgg16_fp16.safetensors}  # HED, which draws the line art and whose features are compared
out=${OUT:-runs/recipes}              # where inversion.sh left what it made, and where everything else goes

pairs=$out/pairs mixed=$out/mixed-pairs small=$out/small-64.safetensors drawn_small=$out/small-64-drawn.safetensors
teacher=$out/w-only/model
lines=$out/line-art photo_lines=$out/photo-line-art new_lines=$out/new-line-art
run=$out/sketch

train() {
    accelerate launch training/train.py --task sketch --resume_from_checkpoint latest "$@"
}

# Train up to a step at which the model is kept, although the schedule was planned for more.
train_until() {
    local step=$1 folder=$2 picture process
    shift 2
    picture=$folder/validation-$(printf %06d "$step").png  # drawn when the model of this step is measured and kept
    if [ -f "$picture" ]; then return; fi
    python training/train.py --task sketch --resume_from_checkpoint latest --output_dir "$folder" \
        --validation_steps "$step" "$@" &
    process=$!
    while kill -0 $process 2>/dev/null && [ ! -f "$picture" ]; do sleep 5; done
    kill -TERM $process 2>/dev/null || true
    wait $process || [ $? = 143 ]  # ended by this signal, with all saved
}

average() {
    python training/recipes/average_models.py "$@"
}

draw_lines() {
    python training/recipes/make_line_art.py --weights "$edges" "$@"
}

fit_identity() {  # from pairs to a file, unless it is there
    local file=$1
    shift
    if [ -f "$file" ]; then return; fi
    python training/recipes/fit_identity.py --pairs_dir "$@" --recogniser "$recogniser" --output "$file"
}

# Runs 1 and 2: the error of w, then the identity that a small network reads from w.
draw_lines --pairs_dir "$pairs" --output_dir "$lines"
draw_lines --faces_dir "$photos" --output_dir "$photo_lines"
fit_identity "$out/identity.safetensors" "$pairs" "$out/more-pairs"
train --output_dir "$run/1" --pairs_dir "$pairs" "$out/more-pairs" --line_art_dir "$lines" --line_art_share 0.65 \
    --gentle_steps 4000 --max_train_steps 7000 --learning_rate 5e-4 --lr_scheduler constant_with_warmup \
    --lr_warmup_steps 100
train --output_dir "$run/2" --pretrained_model_name_or_path "$run/1/model" --pairs_dir "$pairs" "$out/more-pairs" \
    --line_art_dir "$lines" --line_art_share 0.7 --max_train_steps 6800 --learning_rate 4e-4 --lr_warmup_steps 100 \
    --identity_net "$out/identity.safetensors" --identity_weight 0.5 --faces_dir "$photos" --faces_repeats 3 \
    --faces_line_art_dir "$photo_lines" --recogniser "$recogniser" --seed 1

# Run 3: the identity of pictures that the small copy of the generator draws; then the mean with the run before.
pictures=(--line_art_share 0.7 --target_dir "$photos" --decode_net "$small" --decode_precision auto
    --decode_batch_size 4 --w_weight 1 --l2_weight 0 --id_weight 0.5 --lpips_weight 0 --w_norm_weight 0
    --recogniser "$recogniser")
train_until 520 "$run/3a" --pretrained_model_name_or_path "$run/2/model" --pairs_dir "$pairs" "$mixed" \
    --line_art_dir "$lines" "${pictures[@]}" --photo_repeats 10 --learning_rate 4e-4 --lr_warmup_steps 30 \
    --ema_decay 0.995 --max_train_steps 1000
train --output_dir "$run/3b" --pretrained_model_name_or_path "$run/3a/model" --pairs_dir "$pairs" "$mixed" \
    --line_art_dir "$lines" "${pictures[@]}" --photo_repeats 10 --id_contrast 0.7 --learning_rate 3e-4 \
    --lr_warmup_steps 30 --ema_decay 0.995 --max_train_steps 680
average "$run/2/model" "$run/3b/model" --output_dir "$run/average-1"

# Run 4: more pairs, and targets half of which a teacher reads off the picture.
distil() {
    python training/recipes/distil_pairs.py --model "$teacher" "$@"
}
python training/recipes/make_pairs.py --output_dir "$out/preview-pairs" --num_pairs 4500 --first_index 5000000 \
    --preview
python training/recipes/make_pairs.py --output_dir "$out/small-pairs" --num_pairs 18000 --first_index 6000000 \
    --decode_net "$small"
distil --pairs_dir "$pairs" --max_pairs 11500 --output_dir "$out/distilled/pairs"
distil --pairs_dir "$out/preview-pairs" --output_dir "$out/distilled/preview-pairs"
distil --pairs_dir "$out/small-pairs" --output_dir "$out/distilled/small-pairs"
fit_identity "$out/identity-2.safetensors" "$pairs" "$out/preview-pairs"
styles=(--num_validation_pairs 50 --lr_warmup_steps 100 --faces_dir "$photos" --faces_line_art_dir "$photo_lines"
    --recogniser "$recogniser" --identity_net "$out/identity-2.safetensors" --identity_weight 0.5 --id_contrast 0.7)
train --output_dir "$run/4" --pretrained_model_name_or_path "$run/average-1" --pairs_dir "$mixed" \
    "$out/distilled/pairs" "$out/distilled/preview-pairs" "$out/distilled/small-pairs" --line_art_dir "$lines" \
    --line_art_share 0.8 "${styles[@]}" --faces_repeats 6 --learning_rate 6e-4 --max_train_steps 17400 --seed 7

# Run 5: two and a half times the pairs, mirror images, more line art.
python training/recipes/make_pairs.py --output_dir "$out/small-pairs" --num_pairs 77500 --first_index 6000000 \
    --num_processes 2 --decode_net "$small"
distil --pairs_dir "$out/small-pairs" --output_dir "$out/distilled/small-pairs"
distil --mirror --pairs_dir "$pairs" --max_pairs 11500 --output_dir "$out/mirrored/pairs"
distil --mirror --pairs_dir "$out/preview-pairs" --output_dir "$out/mirrored/preview-pairs"
distil --mirror --pairs_dir "$out/small-pairs" --max_pairs 60500 --output_dir "$out/mirrored/small-pairs"
draw_lines --pairs_dir "$out/mirrored/pairs" --output_dir "$lines"
draw_lines --pairs_dir "$out/small-pairs" --output_dir "$lines" --max_images 10000
train --output_dir "$run/5" --pretrained_model_name_or_path "$run/4/model" --pairs_dir "$mixed" \
    "$out/distilled/pairs" "$out/distilled/preview-pairs" "$out/distilled/small-pairs" "$out/mirrored/pairs" \
    "$out/mirrored/preview-pairs" "$out/mirrored/small-pairs" --line_art_dir "$lines" --line_art_share 0.85 \
    --line_art_repeats 4 "${styles[@]}" --faces_repeats 12 --learning_rate 6e-4 --max_train_steps 13500 --seed 8

# Run 6: a deeper encoder, and a calibrated teacher.
for name in 3b 4 5; do
    python training/recipes/grow_encoder.py "$run/$name/model" --stage_depths 3 4 3 --output_dir "$run/$name-deeper"
done
if [ ! -f "$out/calibration.safetensors" ]; then
    python training/recipes/calibrate_teacher.py --pairs_dir "$out/small-pairs" --held_out 17500 --model "$teacher" \
        --output "$out/calibration.safetensors"
fi
for share in 0.8 0.5; do
    calibrated=(--calibration "$out/calibration.safetensors" --share $share)
    distil "${calibrated[@]}" --pairs_dir "$pairs" --max_pairs 11500 --output_dir "$out/calibrated-$share/pairs"
    for store in preview-pairs small-pairs; do
        distil "${calibrated[@]}" --pairs_dir "$out/$store" --output_dir "$out/calibrated-$share/$store"
    done
done
mirror=(--calibration "$out/calibration.safetensors" --mirror)
distil "${mirror[@]}" --pairs_dir "$pairs" --max_pairs 11500 --output_dir "$out/calibrated-mirrored/pairs"
distil "${mirror[@]}" --pairs_dir "$out/preview-pairs" --output_dir "$out/calibrated-mirrored/preview-pairs"
distil "${mirror[@]}" --pairs_dir "$out/small-pairs" --max_pairs 60500 \
    --output_dir "$out/calibrated-mirrored/small-pairs"
deep=("${styles[@]}" --line_art_dir "$lines" --line_art_share 0.85 --line_art_repeats 4 --faces_repeats 24)
train_until 3769 "$run/6" --pretrained_model_name_or_path "$run/5-deeper" --pairs_dir "$mixed" \
    "$out"/calibrated-0.8/* "$out"/calibrated-mirrored/* "${deep[@]}" --learning_rate 6e-4 --max_train_steps 14000 \
    --seed 9
average "$run/6/model" "$run/5-deeper" "$run/4-deeper" --shares 0.25 0.35 0.4 --output_dir "$run/average-2"

# Runs 7 and 8: three more of these, each averaged in. The two of run 7 were made at the same time, a core for each.
train --output_dir "$run/7a" --pretrained_model_name_or_path "$run/average-2" --pairs_dir "$mixed" \
    "$out"/calibrated-0.8/* "$out"/calibrated-mirrored/* "${deep[@]}" --learning_rate 5e-4 --max_train_steps 8800 \
    --seed 9
train --output_dir "$run/7b" --pretrained_model_name_or_path "$run/average-2" --pairs_dir "$mixed" \
    "$out"/calibrated-0.5/* "$out"/calibrated-mirrored/* "${deep[@]}" --learning_rate 5e-4 --max_train_steps 4700 \
    --seed 10
average "$run/7a/model" "$run/7b/model" "$run/5-deeper" "$run/4-deeper" --shares 0.3 0.2 0.2 0.3 \
    --output_dir "$run/average-3"
train_until 9877 "$run/8" --pretrained_model_name_or_path "$run/average-3" --pairs_dir "$mixed" \
    "$out"/calibrated-0.8/* "$out"/calibrated-mirrored/* "${deep[@]}" --learning_rate 5e-4 --max_train_steps 10800 \
    --seed 11
average "$run/average-3" "$run/8/model" --shares 0.6 0.4 --output_dir "$run/average-4"

# Run 9: identity through pictures again, twice.
for seed_and_steps in "31 400" "32 330"; do
    read -r seed steps <<< "$seed_and_steps"
    train --output_dir "$run/9-$seed" --pretrained_model_name_or_path "$run/average-4" --pairs_dir "$mixed" \
        "$out/calibrated-0.8/pairs" --line_art_dir "$lines" "${pictures[@]}" --photo_repeats 10 --id_contrast 0.7 \
        --learning_rate 4e-4 --lr_warmup_steps 20 --ema_decay 0.99 --num_validation_pairs 50 \
        --max_train_steps "$steps" --seed "$seed"
done
average "$run/average-4" "$run/9-31/model" "$run/9-32/model" --shares 0.2 0.4 0.4 --output_dir "$run/average-5"

# Run 10: new pairs, a prior of W, and the whole encoder after it.
python training/recipes/make_pairs.py --output_dir "$out/new-pairs" --num_pairs 14500 --first_index 20000000 \
    --decode_net "$small"
python training/recipes/make_pairs.py --output_dir "$out/new-preview-pairs" --num_pairs 2000 --first_index 9000000 \
    --preview
draw_lines --pairs_dir "$out/new-pairs" --output_dir "$new_lines" --max_images 5500
if [ ! -d "$run/with-prior" ]; then
    python training/recipes/fit_prior.py "$run/average-5" --pairs_dir "$out/new-pairs" --line_art_dir "$new_lines" \
        --line_art_share 0.85 --base_rank 256 --prior_width 704 --output_dir "$run/with-prior"
fi
tenth=(--pretrained_model_name_or_path "$run/with-prior" --pairs_dir "$out/new-pairs" "$out/new-preview-pairs"
    --line_art_dir "$new_lines" --line_art_share 0.85 --line_art_repeats 3 --num_validation_pairs 200
    --learning_rate 2e-4 --lr_warmup_steps 100 --max_train_steps 3400 --ema_decay 0.998 --seed 21)
if [ ! -d "$run/10-2400" ]; then
    train_until 2400 "$run/10" "${tenth[@]}"
    cp -r "$run/10/model" "$run/10-2400"
fi
train --output_dir "$run/10" "${tenth[@]}" --validation_steps 800

# Run 11: identity through pictures from the prior, then from the mean with run 10. Their mean goes on.
eleventh=(--pairs_dir "$out/new-preview-pairs" "$out/new-pairs" --line_art_dir "$new_lines" "${pictures[@]}"
    --id_contrast 0.7 --learning_rate 3e-4 --num_validation_pairs 50)
train --output_dir "$run/11a" --pretrained_model_name_or_path "$run/with-prior" "${eleventh[@]}" --photo_repeats 8 \
    --lr_warmup_steps 20 --ema_decay 0.99 --validation_steps 200 --max_train_steps 420 --seed 33
average "$run/10-2400" "$run/11a/model" --output_dir "$run/average-6"
train --output_dir "$run/11b" --pretrained_model_name_or_path "$run/average-6" "${eleventh[@]}" --photo_repeats 10 \
    --lr_warmup_steps 10 --ema_decay 0.98 --max_train_steps 170 --seed 44
average "$run/10/model" "$run/11a/model" "$run/11b/model" --shares 0.25 0.25 0.5 --output_dir "$run/final"

python training/recipes/make_pairs.py --output_dir "$out/held-out-pairs" --num_pairs 500 --first_index 4000000
python training/evaluate.py "$run/final" --pairs_dir "$out/held-out-pairs" --faces_dir "$faces" \
    --recogniser "$recogniser" --edge_detector "$edges" --output_dir "$out/sketch-report"

# Run 12: drawings as untrained people make them. Faces 0 to 4,999 are those that measure_attributes.py describes.
looked_at=${LOOKED_AT_PAIRS:-looked-at-pairs}  # a store with these faces
drawings=${DRAWINGS:-fs2k}            # photos/ and attributes.jsonl: what a woman looks like
for store in "$looked_at" "$out/new-preview-pairs"; do
    python training/recipes/make_label_maps.py --pairs_dir "$store" --output_dir "$out/labels-${store##*/}"
done
labels=("$out/labels-${looked_at##*/}" "$out/labels-new-preview-pairs")
if [ ! -f "$out/attributes.safetensors" ]; then
    python training/recipes/measure_attributes.py --pairs_dir "$looked_at" "$out/new-preview-pairs" \
        --label_maps_dir "${labels[@]}" --drawings_dir "$drawings" --recogniser "$recogniser" \
        --output "$out/attributes.safetensors"
fi
train --output_dir "$run/12" --pretrained_model_name_or_path "$run/final" \
    --pairs_dir "$looked_at" "$out/new-preview-pairs" "$out/new-pairs" --label_maps_dir "${labels[@]}" \
    --attributes "$out/attributes.safetensors" --stroke_repeats 2 --num_validation_pairs 60 --learning_rate 4e-4 \
    --lr_warmup_steps 50 --max_train_steps 2000 --ema_decay 0.995 --seed 51

# Run 13: identity through pictures again, with drawings by artists; then the mean with the starter before strokes.
if [ ! -d "$out/gathered" ]; then
    python training/recipes/gather_drawings.py --drawings_dir "$drawings" --faces_dir "$photos" \
        --output_dir "$out/gathered"
fi
train --output_dir "$run/13" --pretrained_model_name_or_path "$run/12/model" --pairs_dir "$out/new-preview-pairs" \
    --label_maps_dir "$out/labels-new-preview-pairs" --attributes "$out/attributes.safetensors" --stroke_repeats 1 \
    --edited_share 0.3 --attribute_weight 0.2 --target_dir "$out/gathered/photos" \
    --source_dir "$out/gathered/drawings" --photo_repeats 3 --num_validation_pairs 50 --decode_net "$small" \
    --decode_precision auto --decode_batch_size 4 --w_weight 1 --l2_weight 0 --id_weight 0.5 --id_contrast 0.7 \
    --lpips_weight 0 --w_norm_weight 0 --recogniser "$recogniser" --learning_rate 3e-4 --lr_warmup_steps 20 \
    --max_train_steps 1000 --ema_decay 0.99 --seed 61
average "$run/13/model" "$run/final" --shares 0.7 0.3 --output_dir "$run/with-strokes"

# Run 14: a finer eye, round mouths, and drawings by artists that change their shape and their features; what is known
# of these counts, too.
look=(--drawings_dir "$drawings" --faces_dir "$photos" --per_photo 3)
if [ ! -d "$out/gathered-more" ]; then
    python training/recipes/gather_drawings.py "${look[@]}" --output_dir "$out/gathered-more"
fi
if [ ! -d "$run/finer" ]; then
    python training/recipes/grow_encoder.py "$run/with-strokes" --fine_widths 32 48 64 --output_dir "$run/finer"
fi
train --output_dir "$run/14" --pretrained_model_name_or_path "$run/finer" --pairs_dir "$looked_at" \
    --label_maps_dir "$out/labels-${looked_at##*/}" --attributes "$out/attributes.safetensors" --edited_share 0.5 \
    --attribute_weight 0.4 --target_dir "$out/gathered-more/photos" --source_dir "$out/gathered-more/drawings" \
    --photo_attributes "$out/gathered-more/attributes.jsonl" --photo_repeats 4 --frame_jitter 0.5 --shape_jitter 0.6 \
    --blended_photos 0.4 --num_validation_pairs 60 --decode_net "$drawn_small" --decode_precision auto \
    --decode_batch_size 4 --w_weight 0.8 --l2_weight 0 --id_weight 0.7 --id_contrast 0.3 --lpips_weight 0 \
    --w_norm_weight 0 --recogniser "$recogniser" --optimizer soap --learning_rate 5e-4 --lr_warmup_steps 15 \
    --max_train_steps 255 --ema_decay 0.98 --seed 71
average "$run/14/model" "$run/finer" --shares 0.75 0.25 --output_dir "$run/with-mouths"

# Run 15: beards with long hair, more moustaches, and drawings by artists that are drawn again with other pens.
train --output_dir "$run/15" --pretrained_model_name_or_path "$run/with-mouths" --pairs_dir "$looked_at" \
    --label_maps_dir "$out/labels-${looked_at##*/}" --attributes "$out/attributes.safetensors" --edited_share 0.5 \
    --attribute_weight 0.5 --target_dir "$out/gathered-more/photos" --source_dir "$out/gathered-more/drawings" \
    --photo_attributes "$out/gathered-more/attributes.jsonl" --photo_repeats 5 --frame_jitter 0.5 --shape_jitter 0.6 \
    --blended_photos 0.4 --damaged_drawings 0.5 --num_validation_pairs 60 --decode_net "$drawn_small" \
    --decode_precision auto --decode_batch_size 4 --w_weight 0.8 --l2_weight 0 --id_weight 0.9 --id_contrast 0.1 \
    --lpips_weight 0 --w_norm_weight 0 --recogniser "$recogniser" --optimizer soap --learning_rate 5e-4 \
    --lr_warmup_steps 10 --max_train_steps 260 --ema_decay 0.98 --seed 91
average "$run/15/model" "$run/with-mouths" --shares 0.6 0.4 --output_dir "$run/with-moustaches"

# Run 16: heads that see in w what is seen in the answers; mirror images, and drawings by artists three times each. Two
# runs, made at the same time, a core for each.
if [ ! -d "$out/gathered-artists" ]; then
    python training/recipes/gather_drawings.py "${look[@]}" --per_artists_drawing 3 --output_dir "$out/gathered-artists"
fi
if [ ! -f "$out/attributes-read.safetensors" ]; then
    python training/recipes/refit_heads.py --attributes "$out/attributes.safetensors" --model "$run/with-moustaches" \
        --drawings_dir "$out/gathered-artists/drawings" --pairs_dir "$looked_at" \
        --output "$out/attributes-read.safetensors"
fi
sixteenth=(--pretrained_model_name_or_path "$run/with-moustaches" --pairs_dir "$looked_at"
    --label_maps_dir "$out/labels-${looked_at##*/}" --attributes "$out/attributes-read.safetensors" --edited_share 0.5
    --target_dir "$out/gathered-artists/photos" --source_dir "$out/gathered-artists/drawings"
    --photo_attributes "$out/gathered-artists/attributes.jsonl" --photo_repeats 3 --random_flip --frame_jitter 0.5
    --shape_jitter 0.7 --damaged_drawings 0.5 --num_validation_pairs 60 --decode_net "$drawn_small"
    --decode_precision auto --decode_batch_size 4 --w_weight 0.8 --l2_weight 0 --id_contrast 0.1 --lpips_weight 0
    --w_norm_weight 0 --recogniser "$recogniser" --optimizer soap --learning_rate 5e-4 --lr_warmup_steps 10
    --ema_decay 0.98)
train --output_dir "$run/16a" "${sixteenth[@]}" --attribute_weight 0.6 --blended_photos 0.4 --id_weight 1.0 \
    --max_train_steps 450 --seed 101
train --output_dir "$run/16b" "${sixteenth[@]}" --attribute_weight 1.2 --blended_photos 0.5 --id_weight 1.1 \
    --max_train_steps 365 --seed 202
average "$run/16a/model" "$run/16b/model" "$run/with-moustaches" "$run/finer" --shares 0.35 0.35 0.1 0.2 \
    --output_dir "$run/with-gender"
average "$run/16a/model" "$run/16b/model" --shares 0.5 0.5 --output_dir "$run/16-both"

# Run 17: photos without a drawing by an artist are left out, and new pairs join. The first run still has the photos, on
# the other core; the third begins with both. Then the mean, and a prior that is tuned on pairs.
if [ ! -d "$out/artists-alone" ]; then
    python training/recipes/gather_drawings.py --drawings_dir "$drawings" --per_artists_drawing 3 \
        --output_dir "$out/artists-alone"
fi
python training/recipes/make_pairs.py --output_dir "$out/last-pairs" --num_pairs 1000 --first_index 5000000 --preview
alone=("${sixteenth[@]}" --pairs_dir "$looked_at" "$out/last-pairs" --target_dir "$out/artists-alone/photos"
    --source_dir "$out/artists-alone/drawings" --photo_attributes "$out/artists-alone/attributes.jsonl"
    --blended_photos 0.5 --attribute_weight 1.0 --id_contrast 0.02)
train --output_dir "$run/17a" "${sixteenth[@]}" --pretrained_model_name_or_path "$run/16-both" --blended_photos 0.5 \
    --attribute_weight 1.0 --id_weight 1.1 --id_contrast 0.02 --max_train_steps 460 --seed 201
train --output_dir "$run/17b" "${alone[@]}" --pretrained_model_name_or_path "$run/16-both" --photo_repeats 2 \
    --w_weight 1.2 --id_weight 1.1 --max_train_steps 520 --seed 202
average "$run/17a/model" "$run/17b/model" --shares 0.35 0.65 --output_dir "$run/17-both"
train --output_dir "$run/17c" "${alone[@]}" --pretrained_model_name_or_path "$run/17-both" --id_weight 1.2 \
    --learning_rate 4e-4 --max_train_steps 130 --seed 203
average "$run/17b/model" "$run/17c/model" "$run/with-gender" "$run/finer" --shares 0.5 0.1 0.3 0.1 \
    --output_dir "$run/untuned"
python training/recipes/tune_prior.py "$run/untuned" --pairs_dir "$out/last-pairs" "$looked_at" \
    --keep_dir "$out/gathered-artists/drawings" --output_dir "$run/last"
python training/evaluate.py "$run/last" --faces_dir "$faces" --drawings_dir "$drawings" \
    --untrained_drawings tests/untrained_drawings.json --recogniser "$recogniser" --edge_detector "$edges" \
    --output_dir "$out/strokes-report"
