// Command runc-fit is an OCI runtime. It trims what a container asks for to what
// this machine can grant, then becomes runc.
//
// A machine whose bounding set lacks CAP_SYS_RESOURCE refuses `docker run
// --privileged` (all capabilities), a lower oom_score_adj and higher limits on open
// files. Nothing is ever added to a request, and on a machine with all capabilities
// nothing is taken away.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// capabilities in the order of their numbers (linux/capability.h).
var capabilities = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID
	KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN
	NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
	SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
	AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
	BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// candidates for the real runc: the first that exists is run. Inside the node image
// this program stands at runc's own path and the real one is moved aside.
var candidates = []string{
	"/usr/libexec/runc-real",
	"/usr/sbin/runc",
	"/usr/bin/runc",
	"/usr/local/bin/runc",
	"/usr/local/sbin/runc",
}

type object = map[string]any

// machine is what a container can be given here.
type machine struct {
	capabilities map[string]bool
	oomScoreAdj  int
	openFiles    uint64
}

func main() {
	arguments := os.Args[1:]
	if path, nested := requestFile(arguments); path != "" {
		if err := trimFile(path, nested, thisMachine()); err != nil {
			// runc reports a broken request itself, in the format its caller reads.
			fmt.Fprintln(os.Stderr, "runc-fit:", err)
		}
	}
	for _, runc := range candidates {
		if _, err := os.Stat(runc); err == nil {
			err = syscall.Exec(runc, append([]string{"runc"}, arguments...), os.Environ())
			fmt.Fprintln(os.Stderr, "runc-fit:", runc, err)
			os.Exit(1)
		}
	}
	fmt.Fprintln(os.Stderr, "runc-fit: no runc found in", candidates)
	os.Exit(1)
}

// requestFile gives the JSON file that describes the process, and whether the process
// is an object within it (a bundle's config.json) or the whole file (exec).
func requestFile(arguments []string) (path string, nested bool) {
	for _, argument := range arguments {
		switch argument {
		case "create", "run", "restore":
			return filepath.Join(option(arguments, "--bundle", "-b"), "config.json"), true
		case "exec":
			return option(arguments, "--process", "-p"), false
		}
	}
	return "", false
}

func option(arguments []string, names ...string) string {
	for index, argument := range arguments {
		for _, name := range names {
			if argument == name && index+1 < len(arguments) {
				return arguments[index+1]
			}
			if value, found := strings.CutPrefix(argument, name+"="); found {
				return value
			}
		}
	}
	return ""
}

func thisMachine() machine {
	granted := map[string]bool{}
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if value, found := strings.CutPrefix(line, "CapBnd:"); found {
			mask, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			for number, name := range capabilities {
				if mask>>uint(number)&1 == 1 {
					granted["CAP_"+name] = true
				}
			}
		}
	}
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	lowest, _ := strconv.Atoi(strings.TrimSpace(string(score)))
	var limit syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return machine{granted, lowest, limit.Max}
}

// trimFile rewrites the request in place; numbers are kept digit by digit.
func trimFile(path string, nested bool, here machine) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	document := object{}
	if err := decoder.Decode(&document); err != nil {
		return err
	}
	process := document
	if nested {
		var found bool
		if process, found = document["process"].(object); !found {
			return nil
		}
	}
	trim(process, here)
	trimmed, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(path, trimmed, info.Mode().Perm())
}

func trim(process object, here machine) {
	if sets, found := process["capabilities"].(object); found {
		for set, value := range sets {
			if asked, found := value.([]any); found {
				sets[set] = granted(asked, here)
			}
		}
	}
	if here.capabilities["CAP_SYS_RESOURCE"] {
		return
	}
	if asked, found := integer(process["oomScoreAdj"]); found && asked < int64(here.oomScoreAdj) {
		process["oomScoreAdj"] = here.oomScoreAdj
	}
	limits, _ := process["rlimits"].([]any)
	for _, value := range limits {
		limit, found := value.(object)
		if !found || limit["type"] != "RLIMIT_NOFILE" {
			continue
		}
		for _, bound := range []string{"hard", "soft"} {
			if asked, found := integer(limit[bound]); found && uint64(asked) > here.openFiles {
				limit[bound] = here.openFiles
			}
		}
	}
}

func granted(asked []any, here machine) []any {
	kept := []any{}
	for _, value := range asked {
		if name, found := value.(string); found && here.capabilities[name] {
			kept = append(kept, name)
		}
	}
	return kept
}

func integer(value any) (int64, bool) {
	number, found := value.(json.Number)
	if !found {
		return 0, false
	}
	if whole, err := number.Int64(); err == nil {
		return whole, true
	}
	// Above int64 only "unlimited" (all bits set) is ever written; as an unsigned
	// number it is larger than any limit, which -1 becomes in the comparison above.
	return -1, true
}
