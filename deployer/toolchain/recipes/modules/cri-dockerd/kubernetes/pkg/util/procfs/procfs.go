package procfs

import "todo-deploy.local/upstream/pkg/util/procfs"

// PidOf finds processes by the name of their program.
func PidOf(name string) ([]int, error) { return procfs.PidOf(name) }
