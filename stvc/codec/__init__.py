"""The codec proper: from pixels and references to payloads and back. No I/O."""
