"""What BIRD 2.0.12 answered, and the rows made of it."""

from __future__ import annotations

from nslab.bgp import status

PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     03:25:52.941  
 Mesh_192_168_59_23 BGP        ---        up     03:25:54.558  Established   
 Mesh_192_168_59_24 BGP        ---        start  03:25:54.888  Connect       Socket: Connection refused
 Node_192_168_59_25 BGP        ---        start  2026-11-30    Idle          BGP Error: Bad peer AS
0000 
"""  # noqa: W291 - BIRD's own spaces
ROUTES = """\
1007-Table master4:
 10.96.0.0/12         unicast [Node_192_168_59_23 03:26:44.473] * (100) [AS64512i]
 	via 192.168.59.23 on eth0
1008-	Type: BGP univ
1012-	BGP.origin: IGP
 	BGP.as_path: 64512
 	BGP.next_hop: 192.168.59.23
1007-                     unicast [Node_192_168_59_22 03:26:44.172] (100) [AS64512i]
 	via 192.168.59.22 on eth0
1012-	BGP.as_path: 64512
 	BGP.next_hop: 192.168.59.22
1007-20.108.66.64/26      unicast [Global_192_168_59_22 03:26:44.172 from 192.168.59.22] * (100) [i]
 	via 192.168.59.24 on eth0
1012-	BGP.as_path: 
 	BGP.next_hop: 192.168.59.24
 	BGP.cluster_list: 244.0.0.1
0000 
"""  # noqa: E101, W291


def test_an_answer_ends_with_the_code_that_a_space_follows() -> None:
    assert status.complete(PROTOCOLS)
    assert not any(status.complete(PROTOCOLS[:length]) for length in range(len(PROTOCOLS) - 1) if length)
    assert not status.complete("")


def test_sessions_have_the_words_of_calicoctl() -> None:
    assert [list(row.values()) for row in status.sessions(status.lines(PROTOCOLS))] == [
        ["192.168.59.23", "node-to-node mesh", "up", "03:25:54", "Established"],
        ["192.168.59.24", "node-to-node mesh", "start", "03:25:54", "Connect Socket: Connection refused"],
        ["192.168.59.25", "node specific", "start", "2026-11-30", "Idle BGP Error: Bad peer AS"],
    ]


def test_routes_have_their_next_hop_and_one_network_has_several() -> None:
    assert [*status.routes(status.lines(ROUTES))] == [
        {"network": network, "nextHop": hop, "peer": peer, "asPath": path, "best": best, "since": since}
        for network, hop, peer, path, best, since in (
            ("10.96.0.0/12", "192.168.59.23", "192.168.59.23", "64512", True, "03:26:44"),
            ("10.96.0.0/12", "192.168.59.22", "192.168.59.22", "64512", False, "03:26:44"),
            ("20.108.66.64/26", "192.168.59.24", "192.168.59.22", "", True, "03:26:44"),
        )
    ]


def test_what_is_no_answer_of_bird_makes_no_rows() -> None:
    assert [*status.sessions(["x", "\x1b[2J", "Mesh_1"])] == [*status.routes(["\tvia x", "BGP.next_hop: 1"])] == []
