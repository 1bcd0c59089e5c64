"""What several test modules share."""

import errno
import ipaddress
import os
import socket

if "PYTEST_XDIST_WORKER" in os.environ:  # two busy OpenMP pools slow each other down; kernels and commands inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
import tiny_world as world  # noqa: E402
from execute import workplace  # noqa: E402


def pytest_collection_modifyitems(items):
    """The notebooks' runs go first: no other file takes as long, and one worker has to do it whole."""
    items.sort(key=lambda item: item.path.stem != "test_notebook_runs")


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    """A folder with a tiny trained model (model/) and 40 sums it half knows (sums.jsonl)."""
    folder = tmp_path_factory.mktemp("tiny_world")
    world.build(folder)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Where notebooks run, in a kernel and in a browser: what one has made, the next goes on with."""
    home = tmp_path_factory.mktemp("site")
    workplace(home)
    return home


def near(host: str | None) -> bool:
    """Whether a host is this machine."""
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or str(address) == OWN_ADDRESS


def own_address() -> str:
    """The address by which other machines would reach this one; asking sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return asked.getsockname()[0]


OWN_ADDRESS = own_address()


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """Nothing leaves this machine: connections to others fail as without a network. A test that makes one by naming a
    Hub set or model says so by the mark `network`; any other fails."""
    reached, look_up = [], socket.getaddrinfo
    connect, connect_ex, sendto = (getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto"))

    def refused(host: str) -> OSError:
        reached.append(host)
        return OSError(errno.ENETUNREACH, "Network is unreachable")

    def far(asked: socket.socket, address) -> bool:
        return asked.family in (socket.AF_INET, socket.AF_INET6) and not near(address[0])

    def connect_near(self, address):  # of datagrams it sends nothing
        if self.type & socket.SOCK_STREAM and far(self, address):
            raise refused(address[0])
        return connect(self, address)

    def connect_ex_near(self, address):
        if self.type & socket.SOCK_STREAM and far(self, address):
            return refused(address[0]).errno
        return connect_ex(self, address)

    def sendto_near(self, content, *flags_and_address):
        if far(self, flags_and_address[-1]):
            raise refused(flags_and_address[-1][0])
        return sendto(self, content, *flags_and_address)

    def look_up_near(host, *arguments, **named):
        if not near(host.decode() if isinstance(host, bytes) else host):
            raise refused(host)
        return look_up(host, *arguments, **named)

    for name, instead in {"connect": connect_near, "connect_ex": connect_ex_near, "sendto": sendto_near}.items():
        monkeypatch.setattr(socket.socket, name, instead)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_near)
    yield
    if not request.node.get_closest_marker("network"):
        assert reached == [], "a test without the mark `network` reached for another machine"
