"""A whole application in plain Kubernetes YAML: its names, and two ways in which a release breaks it."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml")

GOALS = ["customers", "browse", "order", "pay", "state"]
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {selects}}}, ports: [{{name: {port}, port: {number}, targetPort: {target}}}]}}
"""


def reached(lab):
    """The goals that are reached, in their order."""
    return [goal for goal, done in lab.check().items() if done]


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and each Service by its address, by its name and from outside; every goal."""
    lab.probe()
    assert reached(lab) == GOALS


def test_a_database_has_names_of_its_own(lab):
    """A StatefulSet's pods, below their headless Service."""
    box = lab.pod("shop/box")
    for name in ("database-0", "database-1"):
        assert box.http(f"{name}.database:5432/hostname").text == name


def test_a_release_with_a_wrong_selector_and_a_wrong_port(lab):
    """Both refuse; the goals of one and of the other are lost, and come back."""
    lab.apply(SERVICE.format(name="payments", selects="payment", port="grpc", number=50051, target="grpc"))
    assert reached(lab) == ["customers", "browse", "order", "state"]
    lab.apply(SERVICE.format(name="orders", selects="orders", port="http", number=80, target=8080))
    assert reached(lab) == ["customers", "browse", "state"]
    lab.apply(SERVICE.format(name="payments", selects="payments", port="grpc", number=50051, target="grpc"))
    lab.apply(SERVICE.format(name="orders", selects="orders", port="http", number=80, target="http"))
    assert reached(lab) == GOALS
