"""The source ``sentinelhub``: Sentinel-2 L2A from Sentinel Hub or the Copernicus Data Space."""

from stvc.source.sentinelhub.source import SentinelHubSource

__all__ = ["SentinelHubSource"]
