package conntrack

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/exec"
)

// ClearEntriesForPort makes the kernel forget the connections to a port.
func ClearEntriesForPort(execer exec.Interface, port int, isIPv6 bool, protocol v1.Protocol) error {
	words := []string{"-D", "-p", strings.ToLower(string(protocol)), "--dport", strconv.Itoa(port)}
	if isIPv6 {
		words = append(words, "-f", "ipv6")
	}
	said, err := execer.Command("conntrack", words...).CombinedOutput()
	if err != nil && !strings.Contains(string(said), "0 flow entries have been deleted") {
		return fmt.Errorf("conntrack: %s: %w", said, err)
	}
	return nil
}
