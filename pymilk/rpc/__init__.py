"""The database's functions as typed calls: `client.call(rpc.allocate_payment_atomic(…))`."""

# ruff: noqa: F403 - whatever there is, one function a function
from pymilk.rpc.call import Argument as Argument
from pymilk.rpc.call import Call as Call
from pymilk.rpc.call import Json as Json
from pymilk.rpc.functions import *
