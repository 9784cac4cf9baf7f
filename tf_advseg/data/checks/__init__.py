"""All that is wrong with a data set, where training stops at the first. No TensorFlow here."""
