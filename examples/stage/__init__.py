"""What the examples share: a PostgreSQL of their own, real worker processes, and an exit status for each surprise.

Nothing here is needed to use Zart. A `Stage` only does, and shows, what you would type: `Stage.start_worker` runs
`zart worker FILE`, and `Stage.client` is a `zart_scheduler.SyncClient`.
"""

from __future__ import annotations

from examples.stage.children import Child
from examples.stage.stage import Stage, play

__all__ = ["Child", "Stage", "play"]
