import pytest

from tests.cluster.local import node, system
from tests.cluster.local.console import Problem


def test_a_wanted_port_that_is_free_is_taken() -> None:
    assert system.choose_ports({"apiserver": 6443}, lambda port: True) == {"apiserver": 6443}


def test_a_port_that_is_in_use_makes_way_for_the_next_free_one() -> None:
    busy = {8080, 8081}
    assert system.choose_ports({"http": 8080}, lambda port: port not in busy) == {"http": 8082}


def test_no_port_is_given_twice_nor_taken_from_another_one_that_wants_it() -> None:
    chosen = system.choose_ports({"etcd": 2379, "etcd-peer": 2380}, lambda port: port != 2379)
    assert chosen == {"etcd": 2381, "etcd-peer": 2380}


def test_the_ports_of_a_node_are_all_different() -> None:
    chosen = system.choose_ports(node.PORTS, lambda port: True)
    assert len(set(chosen.values())) == len(node.PORTS)


def test_where_no_port_is_free_the_sentence_names_what_it_was_for() -> None:
    with pytest.raises(Problem, match="registry from 5000"):
        system.choose_ports({"registry": 5000}, lambda port: False)


def test_a_network_that_the_host_reaches_is_left_alone() -> None:
    assert system.choose_network(["10.244.0.0/16", "10.243.0.0/16"], set()) == "10.244.0.0/16"
    assert system.choose_network(["10.244.0.0/16", "10.243.0.0/16"], {"10.244.3.0/24"}) == "10.243.0.0/16"


def test_a_name_server_in_a_network_keeps_it_from_being_chosen() -> None:
    assert system.choose_network(["10.96.0.0/16", "10.97.0.0/16"], {"10.96.0.53"}) == "10.97.0.0/16"


def test_a_host_that_routes_all_of_10_still_gets_both_networks() -> None:
    pods = system.choose_network(node.POD_NETWORKS, {"10.0.0.0/8"})
    services = system.choose_network(node.SERVICE_NETWORKS, {"10.0.0.0/8"})
    assert system.choose_network([services], {pods}) == services


def test_where_each_network_is_in_use_the_sentence_says_so() -> None:
    with pytest.raises(Problem, match="in use"):
        system.choose_network(["10.244.0.0/16"], {"10.0.0.0/8"})
