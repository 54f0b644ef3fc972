"""What is computed on the host, whatever devices a run uses."""

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.run import layout
from sagd_jax.system.host import host_device, on_host


def test_it_is_on_the_host_also_within_the_mesh_of_a_run():
    twice = jax.jit(lambda x: 2 * x)
    with jax.set_mesh(layout.whole_mesh()):
        with on_host() as device:
            made = twice(jnp.arange(3))
        again = twice(jnp.arange(3))
    assert device == host_device() and made.devices() == {device}
    np.testing.assert_array_equal(made, again)
    # The mesh of the run is set again.
    assert jax.sharding.get_abstract_mesh().empty
