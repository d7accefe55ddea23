#!/usr/bin/env bash
# Train the starter for label maps again, in one run of about an hour on one core of a laptop.
#
# Run it from the root of a checkout, with the package and its [training] extra installed; it goes on where it was
# stopped. It begins with the sketch starter that ships.
set -euo pipefail

photos=${PHOTOS:-photos}              # 700 aligned photos of faces to train on
masks=${MASKS:-masks}                 # their label maps, of the same names
faces=${FACES:-faces}                 # aligned photos of which the last 100 by name are measured
face_masks=${FACE_MASKS:-face-masks}  # their label maps
edges=${EDGES:-hed_vgg16_fp16.safetensors}  # HED, whose features the perceptual distance compares
out=${OUT:-runs/recipes}              # everything that is made

layout=$out/layout.safetensors

python training/recipes/make_pairs.py --output_dir "$out/label-pairs" --num_pairs 19000 --first_index 1000000
python training/recipes/make_label_maps.py --pairs_dir "$out/label-pairs" --output_dir "$out/label-maps"
if [ ! -f "$layout" ]; then
    python training/recipes/fit_layout.py --pairs_dir "$out/label-pairs" --labels_dir "$out/label-maps" --steps 1000 \
        --output "$layout"
fi
accelerate launch training/train.py --task segmentation --pretrained_model_name_or_path sketch \
    --pairs_dir "$out/label-pairs" --label_maps_dir "$out/label-maps" --target_dir "$photos" --source_dir "$masks" \
    --photo_repeats 3 --random_flip --layout_net "$layout" --layout_share 0.25 --decode_precision auto \
    --gentle_steps 1500 --max_train_steps 3400 --learning_rate 5e-4 --lr_warmup_steps 200 \
    --output_dir "$out/segmentation" --resume_from_checkpoint latest

python training/evaluate.py "$out/segmentation/model" --faces_dir "$faces" --source_dir "$face_masks" \
    --output_dir "$out/segmentation-report"
python benchmarks/measure_variations.py "$out/segmentation/model" "$face_masks" --edge_detector "$edges" \
    --output_dir "$out/segmentation-report"
