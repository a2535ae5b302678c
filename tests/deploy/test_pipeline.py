"""The whole way, once in one piece."""

from pymilk.deploy.rollback import roll_back
from support.databases import Database
from support.projects import Toy, deploy_toy


def test_a(shop: Database, toy: Toy) -> None:
    deploy_toy(toy.plan(shop))


def test_b(shop_001: Database, toy: Toy) -> None:
    roll_back(toy.plan(shop_001), archive=False)
