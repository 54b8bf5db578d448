"""Historical backgrounds: cloud-free composites of a place's past, coded once and kept by hash."""

from stvc.background._entry import CacheEntry
from stvc.background.cache import BackgroundCache, default_cache_dir

__all__ = ["BackgroundCache", "CacheEntry", "default_cache_dir"]
