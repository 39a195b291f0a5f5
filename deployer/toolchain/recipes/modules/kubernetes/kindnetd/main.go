// Command kindnetd does on a node what upstream's program of that name does for
// Minikube's manifest of kindnet: pods get addresses of the node's own range, the
// ranges of the other nodes are reached through these nodes, and what leaves the
// pods' network does so with the node's address. It enforces no NetworkPolicy.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	account       = "/var/run/secrets/kubernetes.io/serviceaccount"
	configuration = "/etc/cni/net.d/10-kindnet.conflist"
	pause         = time.Second
)

// nodeList is the API server's list of nodes, as far as it is read.
type nodeList struct {
	Metadata struct{ ResourceVersion string }
	Items    []struct {
		Metadata struct{ Name string }
		Spec     struct{ PodCIDR string }
		Status   struct {
			Addresses []struct{ Type, Address string }
		}
	}
}

func main() {
	own, pods := os.Getenv("HOST_IP"), os.Getenv("POD_SUBNET")
	for {
		version, err := keep(own, pods)
		if err == nil {
			err = await(version)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "kindnetd:", err)
		}
		time.Sleep(pause)
	}
}

// keep brings this node to what the list of nodes says and gives the list's version.
func keep(own, pods string) (string, error) {
	answer, err := ask("/api/v1/nodes")
	if err != nil {
		return "", err
	}
	defer answer.Close()
	var nodes nodeList
	if err := json.NewDecoder(answer).Decode(&nodes); err != nil {
		return "", err
	}
	for _, rule := range rules(pods) {
		if err := ensureRule(rule[0], rule[1:]...); err != nil {
			return "", err
		}
	}
	for _, node := range nodes.Items {
		for _, address := range node.Status.Addresses {
			if address.Type != "InternalIP" || node.Spec.PodCIDR == "" {
				continue
			}
			if address.Address == own {
				err = write(configuration, network(node.Spec.PodCIDR))
			} else {
				err = run("ip", "route", "replace", node.Spec.PodCIDR, "via", address.Address)
			}
			if err != nil {
				return "", fmt.Errorf("node %s: %w", node.Metadata.Name, err)
			}
		}
	}
	return nodes.Metadata.ResourceVersion, nil
}

// await returns when a node comes, goes or changes, or after a while.
func await(version string) error {
	answer, err := ask("/api/v1/nodes?watch=1&timeoutSeconds=30&resourceVersion=" + version)
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = answer.Read(make([]byte, 1))
	if err == io.EOF {
		return nil
	}
	return err
}

// rules are the table, the chain and the conditions of what iptables must have: Docker
// drops what it forwards for others, and the world knows no address of a pod.
func rules(pods string) [][]string {
	return [][]string{
		{"nat", "POSTROUTING", "-s", pods, "!", "-d", pods, "-j", "MASQUERADE"},
		{"filter", "FORWARD", "-s", pods, "-j", "ACCEPT"},
		{"filter", "FORWARD", "-d", pods, "-j", "ACCEPT"},
	}
}

func ensureRule(table string, rule ...string) error {
	words := []string{"-w", "5", "-t", table}
	if run("iptables", append(append(words, "-C"), rule...)...) == nil {
		return nil
	}
	return run("iptables", append(append(words, "-A"), rule...)...)
}

// network is the configuration of the node's network plugin.
func network(subnet string) []byte {
	type object = map[string]any
	text, _ := json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "kindnet",
		"plugins": []object{
			{
				"type": "bridge", "bridge": "kindnet0", "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
				"ipam": object{"type": "host-local", "ranges": [][]object{{{"subnet": subnet}}}},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	return append(text, '\n')
}

// write leaves the file with the content, complete at any moment.
func write(path string, content []byte) error {
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, content) {
		return nil
	}
	// The name under which it is begun is none that the runtime reads.
	draft := filepath.Join(filepath.Dir(path), ".kindnet.draft")
	if err := os.WriteFile(draft, content, 0o644); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

// ask gives the body of the API server's answer; the token is read each time, for it is renewed.
func ask(path string) (io.ReadCloser, error) {
	token, err := os.ReadFile(filepath.Join(account, "token"))
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest("GET", "https://"+net.JoinHostPort(
		os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	client, err := connection()
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	return answer.Body, nil
}

var client *http.Client

// connection is made once; a call that hangs ends some time after the watch would.
func connection() (*http.Client, error) {
	if client != nil {
		return client, nil
	}
	authority, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client = &http.Client{
		Timeout:   45 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	return client, nil
}

func run(name string, words ...string) error {
	said, err := exec.Command(name, words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, words, err, bytes.TrimSpace(said))
	}
	return nil
}
