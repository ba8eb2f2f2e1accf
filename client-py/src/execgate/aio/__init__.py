"""The asyncio client: the same names and the same results as the sync one, awaited.

>>> import asyncio
>>> from execgate import AsyncClient
>>> async def story() -> None:
...     async with AsyncClient(address, token=token) as c, c.session() as s:
...         await s.run("cd /tmp; export GREETING=hello")
...         print((await s.run("echo $GREETING from $PWD")).stdout, end="")
...         async for event in s.exec("echo one; echo two"):
...             print(event.stdout.decode(), end="")
>>> asyncio.run(story())
hello from /tmp
one
two

`session`, `get_session`, `exec` and `attach` can be awaited, or entered with `async with`;
`exec` and `attach` also iterated at once. Cancelling a task that waits for a call cancels
the call, as it does for any other awaitable; what becomes of a command that was being
followed is said by its `on_disconnect`.
"""

from .client import AsyncClient
from .session import AsyncSession
from .stream import AsyncExecStream

__all__ = ["AsyncClient", "AsyncExecStream", "AsyncSession"]
