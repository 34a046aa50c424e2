"""The base of thaw's images where no registry can be reached: Debian and its Python, from Debian's mirror."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.one_node.builder import Builder
from tests.cluster.one_node.node import run

SUITE = "bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
# Those whom this machine trusts: behind a proxy that opens TLS, it is the proxy that the build has to trust.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
CONTAINERFILE = f"""\
FROM scratch
ADD root.tar /
ENV SSL_CERT_FILE={AUTHORITIES} PIP_CERT={AUTHORITIES} UV_SYSTEM_CERTS=true
CMD ["python"]
"""


def base_image(builder: Builder, say: Callable[[str], None]) -> str:
    """The image's name; it is made when it is missing."""
    trusted = AUTHORITIES.read_bytes() if AUTHORITIES.exists() else b""
    content = "\0".join([SUITE, PACKAGES, CONTAINERFILE]).encode() + trusted
    name = f"localhost/thaw-test-base:{hashlib.sha256(content).hexdigest()[:16]}"
    if builder.has(name):
        return name
    say(f"making the base image from Debian {SUITE} (a minute, once)")
    builder.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=builder.folder) as folder:
        root = Path(folder) / "root"
        # What debootstrap mounts is gone with the mount namespace.
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
        run(["unshare", "--mount", "--propagation=private", *bootstrap])
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        if trusted:
            (root / AUTHORITIES.relative_to("/")).write_bytes(trusted)
        run(["tar", "--create", f"--file={folder}/root.tar", f"--directory={root}", "--exclude=./var/cache/apt/*", "."])
        run(["rm", "-rf", str(root)])
        file = Path(folder) / "Containerfile"
        file.write_text(CONTAINERFILE)
        builder.build(file, Path(folder), name)
    return name
