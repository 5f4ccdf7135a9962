"""Decorators for Zart: @durable workflows and @step functions.

```python
@step("charge", retry="exponential(3, 2s)")
async def charge(order: Order) -> str: ...

@durable("order-fulfillment", timeout="30m")
async def order_fulfillment(order: Order) -> Receipt: ...
```
"""

from zart_core import Step, Workflow, detached
from zart_decorators.durable import durable
from zart_decorators.step import step

__all__ = ["Step", "Workflow", "detached", "durable", "step"]
