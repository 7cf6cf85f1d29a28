package localcluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// network makes the switch of the cluster inside the supervisor's network namespace: a bridge with
// the machine's address, one tap for each worker, and routes to the workers' pods. Everything of it
// vanishes with the namespace.
func makeNetwork(workers []Worker) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "br0"
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("network: bridge: %w", err)
	}
	if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(gateway, network.Bits()))}); err != nil {
		return fmt.Errorf("network: address %s: %w", gateway, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("network: bridge: %w", err)
	}
	for _, w := range workers {
		if err := connect(bridge, w); err != nil {
			return fmt.Errorf("network: %s: %w", w.Name, err)
		}
	}
	// The machine is the router between the pods of different workers. It would otherwise tell the
	// workers about the shorter way, which their own routes do not want to know.
	return errors.Join(
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
		os.WriteFile("/proc/sys/net/ipv4/conf/all/send_redirects", []byte("0"), 0),
		os.WriteFile("/proc/sys/net/ipv4/conf/br0/send_redirects", []byte("0"), 0))
}

func connect(bridge netlink.Link, w Worker) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = w.tap()
	tap := &netlink.Tuntap{LinkAttrs: attributes, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS | netlink.TUNTAP_VNET_HDR}
	if err := netlink.LinkAdd(tap); err != nil {
		return err
	}
	link, err := netlink.LinkByName(w.tap())
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMaster(link, bridge); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	pods, err := netip.ParsePrefix(w.podCIDR())
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: ipNet(pods), Gw: w.Address.AsSlice(), LinkIndex: bridge.Attrs().Index})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
