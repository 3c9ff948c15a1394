"""Which weights a name stands for: a folder may be written again, and a name on the hub be moved on."""

import hashlib
from pathlib import Path
from typing import Any

PATTERNS = ("*.json", "*.safetensors", "*.bin", "*.model", "*.jinja", "*.txt")
"""Files of a saved model that decide what it says: weights, configuration, tokenizer, chat template."""
CHUNK = 1 << 20  # bytes


def revision_of(path: str, config: Any = None) -> str:
    """A hash of a folder's files, or the commit of a model that came from the hub; "" where neither is known.

    Args:
        path: a folder that `save_pretrained` wrote, or a name on the hub.
        config: the loaded model's configuration, which knows the commit.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return str(getattr(config, "_commit_hash", None) or "")
    found = hashlib.sha256()
    for file in sorted({file for pattern in PATTERNS for file in folder.glob(pattern)}):
        found.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while part := content.read(CHUNK):
                found.update(part)
    return found.hexdigest()[:32]
