// Package libvirt is what Minikube's KVM driver compiles with where there is no libvirt: no connection comes about, and
// what would be done with one is not called. The real package is C.
package libvirt

import "errors"

var errNone = errors.New("this Minikube is built without libvirt: its driver kvm2 cannot be used")

// Error is never made.
type Error struct {
	Code    ErrorNumber
	Message string
}

func (err Error) Error() string { return err.Message }

type (
	ErrorNumber                    int
	DomainState                    int
	DomainXMLFlags                 uint
	DomainShutdownFlags            uint
	DomainUndefineFlagsValues      uint
	DomainInterfaceAddressesSource uint
	ConnectListAllDomainsFlags     uint
	NetworkXMLFlags                uint
	NetworkUpdateCommand           uint
	NetworkUpdateSection           uint
	NetworkUpdateFlags             uint
)

const (
	ERR_OK ErrorNumber = iota
	ERR_INTERNAL_ERROR
	ERR_NO_NETWORK
)

const (
	DOMAIN_NOSTATE DomainState = iota
	DOMAIN_RUNNING
	DOMAIN_BLOCKED
	DOMAIN_PAUSED
	DOMAIN_SHUTDOWN
	DOMAIN_SHUTOFF
	DOMAIN_CRASHED
	DOMAIN_PMSUSPENDED
)

const (
	DOMAIN_XML_SECURE   DomainXMLFlags = 1
	DOMAIN_XML_INACTIVE DomainXMLFlags = 2

	DOMAIN_SHUTDOWN_DEFAULT        DomainShutdownFlags = 0
	DOMAIN_SHUTDOWN_ACPI_POWER_BTN DomainShutdownFlags = 1

	DOMAIN_UNDEFINE_KEEP_NVRAM DomainUndefineFlagsValues = 8

	DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE DomainInterfaceAddressesSource = 0
	DOMAIN_INTERFACE_ADDRESSES_SRC_ARP   DomainInterfaceAddressesSource = 2

	NETWORK_UPDATE_COMMAND_DELETE   NetworkUpdateCommand = 2
	NETWORK_UPDATE_COMMAND_ADD_LAST NetworkUpdateCommand = 3
	NETWORK_SECTION_IP_DHCP_HOST    NetworkUpdateSection = 4
	NETWORK_UPDATE_AFFECT_LIVE      NetworkUpdateFlags   = 1
	NETWORK_UPDATE_AFFECT_CONFIG    NetworkUpdateFlags   = 2
)

type (
	Connect struct{}
	Domain  struct{}
	Network struct{}
)

type DomainInterface struct {
	Name, Hwaddr string
	Addrs        []struct{ Addr string }
}

type NetworkDHCPLease struct {
	Iface, Mac, IPaddr, Hostname, Clientid string
	Prefix                                 uint
}

func NewConnect(string) (*Connect, error) { return nil, errNone }

func (*Connect) Close() (int, error)                                         { return 0, errNone }
func (*Connect) GetLibVersion() (uint32, error)                              { return 0, errNone }
func (*Connect) ListAllDomains(ConnectListAllDomainsFlags) ([]Domain, error) { return nil, errNone }
func (*Connect) ListDefinedDomains() ([]string, error)                       { return nil, errNone }
func (*Connect) LookupDomainByName(string) (*Domain, error)                  { return nil, errNone }
func (*Connect) DomainDefineXML(string) (*Domain, error)                     { return nil, errNone }
func (*Connect) LookupNetworkByName(string) (*Network, error)                { return nil, errNone }
func (*Connect) NetworkDefineXML(string) (*Network, error)                   { return nil, errNone }

func (*Domain) Free() error                                   { return errNone }
func (*Domain) Create() error                                 { return errNone }
func (*Domain) Destroy() error                                { return errNone }
func (*Domain) Shutdown() error                               { return errNone }
func (*Domain) ShutdownFlags(DomainShutdownFlags) error       { return errNone }
func (*Domain) UndefineFlags(DomainUndefineFlagsValues) error { return errNone }
func (*Domain) GetName() (string, error)                      { return "", errNone }
func (*Domain) GetXMLDesc(DomainXMLFlags) (string, error)     { return "", errNone }
func (*Domain) GetState() (DomainState, int, error)           { return 0, 0, errNone }
func (*Domain) ListAllInterfaceAddresses(DomainInterfaceAddressesSource) ([]DomainInterface, error) {
	return nil, errNone
}

func (*Network) Free() error                                { return errNone }
func (*Network) Create() error                              { return errNone }
func (*Network) Destroy() error                             { return errNone }
func (*Network) Undefine() error                            { return errNone }
func (*Network) IsActive() (bool, error)                    { return false, errNone }
func (*Network) GetAutostart() (bool, error)                { return false, errNone }
func (*Network) SetAutostart(bool) error                    { return errNone }
func (*Network) GetXMLDesc(NetworkXMLFlags) (string, error) { return "", errNone }
func (*Network) GetDHCPLeases() ([]NetworkDHCPLease, error) { return nil, errNone }
func (*Network) Update(NetworkUpdateCommand, NetworkUpdateSection, int, string, NetworkUpdateFlags) error {
	return errNone
}
