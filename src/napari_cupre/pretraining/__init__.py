"""CUPre: pretraining on unlabelled images."""
