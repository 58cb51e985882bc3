import sys

from inventory_api.cli import main

sys.exit(main())
