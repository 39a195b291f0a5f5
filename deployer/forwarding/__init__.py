"""URLs at this machine's own address, where the node's cannot be reached: a supervised background process.

`wanted` decides and chooses local ports, `ensure` makes the process serve them, `stop` ends it; `known` tells those
who only look. The process is two (`python -m deployer.forwarding`): a supervisor, and the relay that it starts again.
"""

from deployer.forwarding.ports import NOTHING, Forward, Known, PortMapping, known, reachable, wanted, with_urls
from deployer.forwarding.supervise import ensure, stop

__all__ = ["NOTHING", "Forward", "Known", "PortMapping", "ensure", "known", "reachable", "stop", "wanted", "with_urls"]
