"""A small disk for the profile's node, so that it can be filled without filling the machine's.

Minikube keeps all of a node's /var on the Docker volume of the profile's name; where that exists it takes it as it is.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.cluster import PROFILE


def make(image: Path, gib: int) -> str:
    """The volume of the profile is an ext4 file system of this size in the file; its loop device is returned.

    Needs root, and a profile that does not exist yet.
    """
    image.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["truncate", "--size", f"{gib}G", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    words = ["losetup", "--find", "--show", str(image)]
    device = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    # Docker fills a volume from the image only while it is empty.
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", device, folder], check=True)
        try:
            (Path(folder) / "lost+found").rmdir()
        finally:
            subprocess.run(["umount", folder], check=True)
    label = f"name.minikube.sigs.k8s.io={PROFILE}"
    options = ["--driver", "local", "--opt", "type=ext4", "--opt", f"device={device}"]
    labels = ["--label", label, "--label", "created_by.minikube.sigs.k8s.io=true"]
    subprocess.run(["docker", "volume", "create", PROFILE, *options, *labels], check=True, stdout=subprocess.DEVNULL)
    return device
