"""Learned image codecs of the usual kind, trained by us on the same cubes: the benchmark's rivals.

Transform codecs after Balle et al. 2018 (Variational image compression with a scale hyperprior) and
Minnen et al. 2018 (Joint autoregressive and hierarchical priors, without the autoregressive part):
GDN autoencoders whose latents are coded with a factorized prior, or with one that a hyperprior
conditions. One model serves all rates by gain vectors (Cui et al. 2021, Asymmetric gained deep
image compression). They code each date by itself, for four bands, in floating point; they hold no
error bound, and decode reliably only where they were encoded. No part of stvc uses them.

`model` holds the networks, `coding` turns latents into bytes and back, `windows` draws training
samples, `train.py` is the script.
"""
