package iptables

import (
	"k8s.io/utils/exec"
	"todo-deploy.local/upstream/pkg/util/iptables"
)

type (
	Chain               = iptables.Chain
	FlushFlag           = iptables.FlushFlag
	Interface           = iptables.Interface
	Protocol            = iptables.Protocol
	RestoreCountersFlag = iptables.RestoreCountersFlag
	RulePosition        = iptables.RulePosition
	Table               = iptables.Table
)

const (
	Append           = iptables.Append
	ChainOutput      = iptables.ChainOutput
	ChainPostrouting = iptables.ChainPostrouting
	ChainPrerouting  = iptables.ChainPrerouting
	FlushTables      = iptables.FlushTables
	NoFlushTables    = iptables.NoFlushTables
	Prepend          = iptables.Prepend
	ProtocolIPv4     = iptables.ProtocolIPv4
	ProtocolIPv6     = iptables.ProtocolIPv6
	RestoreCounters  = iptables.RestoreCounters
	TableFilter      = iptables.TableFilter
	TableMangle      = iptables.TableMangle
	TableNAT         = iptables.TableNAT
)

var (
	GetChainsFromTable = iptables.GetChainsFromTable
	MakeChainLine      = iptables.MakeChainLine
)

// New is as before Kubernetes v1.34, with what runs the commands.
func New(_ exec.Interface, protocol Protocol) Interface { return iptables.New(protocol) }
