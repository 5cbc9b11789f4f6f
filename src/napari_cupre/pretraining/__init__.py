"""Pretraining on unlabelled images with AMT2, as in CUPre."""
