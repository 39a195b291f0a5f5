package util

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// CreateListener listens on a UNIX socket in place of one that an earlier process may have left.
func CreateListener(endpoint string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(endpoint, "unix://")
	if !isUnix {
		return nil, fmt.Errorf("only support unix socket endpoint")
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}
