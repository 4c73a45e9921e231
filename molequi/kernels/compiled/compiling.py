"""How the kernels of this folder are compiled: at their first call, and kept on disk.

NaN and infinity keep their meaning. numba compiles a kernel anew when the file that it stands in
has changed, and looks at no other: after a change of what kernels take from elsewhere, `touch`
theirs.
"""

from __future__ import annotations

import numba

_FAST = {"contract", "reassoc", "nsz", "arcp"}
jit = numba.njit(fastmath=_FAST, cache=True, nogil=True, error_model="numpy")
# For functions of arrays: as calls they would count references to each.
inline = numba.njit(fastmath=_FAST, cache=True, nogil=True, error_model="numpy", inline="always")
