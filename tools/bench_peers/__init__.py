"""The codecs that stvc is measured against, and how they are measured.

`cubes` reads a time series, `prepare` and `spectral` do what a careful user would do before a plain
codec (hide clouds, decorrelate bands), `images` and `videos` hold the coders, `registry` composes
them into named codecs next to stvc itself, `measure` runs them, `report` tabulates.
"""
