#pragma once

namespace pare {

/// From now on the first Ctrl-C (SIGINT) or SIGTERM only sets a flag; the second one ends the
/// program as usual.
void catch_interrupts();
bool interrupted();

}  // namespace pare
