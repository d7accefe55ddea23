"""The 19 parts of a face in label maps: names, colours, and the orders that their numbers have."""

# fmt: off
CLASS_NAMES = (
    "background", "skin", "nose", "glasses", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)
# The colours of the data set's own demo, and of the palette in its masks.
PALETTE = (
    (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204), (0, 255, 255),
    (255, 204, 204), (102, 51, 0), (255, 0, 0), (102, 204, 0), (255, 255, 0), (0, 0, 153), (0, 0, 204),
    (255, 51, 153), (0, 204, 204), (0, 51, 0), (255, 153, 51), (0, 204, 0),
)
# fmt: on
NUM_CLASSES = len(CLASS_NAMES)
BACKGROUND, SKIN, HAIR = 0, 1, 13
# The official number of each number of an order: that of the data set, and of the masks of face-parsing.PyTorch.
LABEL_ORDERS = {
    "celebamask-hq": tuple(range(NUM_CLASSES)),
    "face-parsing": (0, 1, 6, 7, 4, 5, 3, 8, 9, 15, 2, 10, 11, 12, 17, 16, 18, 13, 14),
}
