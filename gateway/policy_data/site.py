"""`site.tenants`: the tenants whose people run the gateway, and see what all tenants share."""

from engine.values import JsonObject
from gateway.policy_data.fields import read_names, read_object


def site_tenants(data: JsonObject) -> frozenset[str]:
    """Return the tenants that run the gateway; without the section there are none.

    Raises:
        PolicyInvalidError: `policy.data_invalid`, it is no list of names, or has another field.
    """
    given = read_object("site", data.get("site", {}), ("tenants",))
    tenants = given.get("tenants", [])
    return frozenset(read_names("site.tenants", tenants)) if tenants != [] else frozenset()
