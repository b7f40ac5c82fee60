"""What stands between spikeloom and the machine: files, archives, JSON, child processes, the cache.

Whatever comes from outside is untrusted, and whatever goes out is there as a whole or not at all. Every rule about that
is stated here once; nothing in this room knows what a network is.
"""

__all__: list[str] = []
