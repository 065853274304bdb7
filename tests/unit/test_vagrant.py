"""The virtual machine is described three times (Vagrant, Lima, cloud-init), but what is in it is said once."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VAGRANTFILE = (ROOT / "vagrant/Vagrantfile").read_text()
PROVISION = (ROOT / "vagrant/provision.sh").read_text()
LIMA = yaml.safe_load((ROOT / "vagrant/lima.yaml").read_text())
CLOUD = yaml.safe_load((ROOT / "vagrant/cloud-init.yaml").read_text())
MODULES = re.findall(r"^\w+$", (ROOT / "scripts/modules.conf").read_text(), re.MULTILINE)
PACKAGES = re.findall(r"^(?:run|build) +\S+ +(\S+)", (ROOT / "nslab/packages.conf").read_text(), re.MULTILINE)
DESCRIPTIONS = ("Vagrantfile", "lima.yaml", "cloud-init.yaml", "provision.sh")


def test_the_modules_are_those_that_labs_want() -> None:
    schedulers = {f"ip_vs_{name}" for name in ("rr", "wrr", "lc", "sh", "mh")}
    wanted = {"ipip", "vxlan", "ip_vs", "br_netfilter", "nf_conntrack", "dummy", "sch_netem", "ip_set"}
    assert set(MODULES) == wanted | schedulers
    assert len(MODULES) == len(set(MODULES))


def test_one_list_of_modules_serves_this_machine_and_every_virtual_one() -> None:
    assert "modules.conf" in (ROOT / "scripts/modules").read_text()
    assert re.search(r"^ *put /etc/modules-load\.d/nslab\.conf <.*/scripts/modules\.conf", PROVISION, re.MULTILINE)
    assert '"$home/scripts/modules"' in PROVISION


def test_one_list_of_packages_serves_this_machine_and_every_virtual_one() -> None:
    assert {"iproute2", "ipvsadm", "nftables", "conntrack", "gcc"} <= set(PACKAGES)
    assert '"$home/scripts/install" dev' in PROVISION
    assert CLOUD["packages"] == ["git"]  # which clones; the clone installs the rest


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_no_description_has_a_list_of_its_own(name: str) -> None:
    lines = (ROOT / "vagrant" / name).read_text().partition("greeting() {")[0].splitlines()
    words = {word for line in lines for word in re.findall(r"[\w.+-]+", line.partition("# ")[0])}
    assert not words & {*MODULES, *PACKAGES} - {"bash"}  # which also runs the script


def test_all_three_run_the_one_script() -> None:
    assert 'synced_folder "..", "/nslab"' in VAGRANTFILE
    assert 'config.vm.provision "shell", inline: "bash /nslab/vagrant/provision.sh"' in VAGRANTFILE
    (step,) = LIMA["provision"]
    assert step["mode"] == "system"
    assert step["script"].endswith("\nexec bash /nslab/vagrant/provision.sh\n")
    assert CLOUD["runcmd"][-1] == ["bash", "/opt/nslab/vagrant/provision.sh"]


def test_the_machine_has_the_same_size_everywhere() -> None:
    assert "CPUS, MEMORY = 2, 2048" in VAGRANTFILE
    assert (LIMA["cpus"], LIMA["memory"]) == (2, "2GiB")
    assert "--cpus 2 --memory 2G" in (ROOT / "vagrant/cloud-init.yaml").read_text()


def test_vagrant_knows_four_providers() -> None:
    providers = re.findall(r'config\.vm\.provider "(\w+)"', VAGRANTFILE)
    assert providers == ["virtualbox", "vmware_desktop", "libvirt", "qemu"]
    for provider in ("libvirt", "qemu"):  # neither shares folders by itself
        part = VAGRANTFILE.partition(f'provider "{provider}"')[2].partition("\n  end\n")[0]
        assert "**SYNCED" in part


def test_lima_has_an_image_for_both_architectures() -> None:
    assert {image["arch"]: image["location"].rpartition("-")[2] for image in LIMA["images"]} == {
        "aarch64": "arm64.qcow2",
        "x86_64": "amd64.qcow2",
    }
    assert [mount["mountPoint"] for mount in LIMA["mounts"]] == ["/nslab"]


def test_cloud_init_reads_its_file_as_a_cloud_config() -> None:
    assert (ROOT / "vagrant/cloud-init.yaml").read_text().startswith("#cloud-config\n")
    (clone, _) = CLOUD["runcmd"]
    assert clone[-2:] == ["@ORIGIN@", "/opt/nslab"]
    assert all(isinstance(word, str) for step in CLOUD["runcmd"] for word in step)


@pytest.mark.parametrize("name", ["vagrant/provision.sh", "scripts/vagrant-test", "scripts/modules"])
def test_bash_can_read_it(name: str) -> None:
    done = subprocess.run(["bash", "-n", ROOT / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("ruby"), reason="there is no ruby here to read the Vagrantfile")
def test_ruby_can_read_the_vagrantfile() -> None:
    done = subprocess.run(["ruby", "-wc", ROOT / "vagrant/Vagrantfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_git_keeps_the_line_endings_of_linux_on_windows() -> None:
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text().splitlines()
