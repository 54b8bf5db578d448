"""Draw an archive beside its original: what `make demo` does after `stvc encode`."""

import argparse
from pathlib import Path

import stvc
from stvc.aoi import read_aoi
from stvc.picture import draw
from stvc.source import get_source


def main() -> None:
    """Decode an archive, fetch the frames it was made from, and draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--aoi", required=True, help="the GeoJSON file that it was encoded with")
    parser.add_argument("--source", default="sample")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture to write")
    options = parser.parse_args()

    with stvc.open(options.archive) as archive:
        decoded, info = archive.to_xarray(), archive.info()
    original = get_source(options.source).fetch(
        read_aoi(options.aoi), start=None, end=None, bands=None, exclude=()
    )
    print(draw(original, decoded, info, options.output))


if __name__ == "__main__":
    main()
