# AMD 7 series and UltraScale+ (Vivado): the clock of ${name}_axis. Pins are the board's, or of the block design.
create_clock -name aclk -period ${period} [get_ports aclk]
