r"""A server for the tests of agents: real gRPC, scripted answers, nothing is run.

It answers through the same wire as the real one, so the clients under test are the real
clients: sync, asyncio, in other processes, in other languages; and so are the errors.

>>> from execgate.testing import FakeServer
>>> with FakeServer() as server:
...     _ = server.on("git status --short", stdout=" M main.py\n")
...     _ = server.on(re.compile("pytest.*"), stdout="1 failed\n", exit_code=1)
...     with server.client() as c, c.session() as s:
...         print(s.run("git status --short").stdout, end="")
...         print(s.run("pytest -x").exit_code)
...     print(server.commands)
 M main.py
1
['git status --short', 'pytest -x']
"""

from .answer import Answer, Command, denied
from .server import FakeServer

__all__ = ["Answer", "Command", "FakeServer", "denied"]
