"""Brings published data sets into the layout that `tf_advseg.data.catalog` reads."""
