"""The local Kubernetes cluster: python3 tests/cluster/local VERB (see docs/local-cluster.md)."""

import sys
from pathlib import Path

# Run as a folder, Python puts the folder itself first, where its modules are no package.
sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.cluster.local import commands  # noqa: E402

sys.exit(commands.main(sys.argv[1:]))
