"""Data: catalog, shapes, splits, decoding, augmentation and the tf.data pipeline."""

#: The label of pixels that count in no loss and in no metric, in every label tensor.
VOID_LABEL = 255

#: How they are shown: RGB, as in PASCAL VOC.
VOID_COLOR = (224, 224, 192)
