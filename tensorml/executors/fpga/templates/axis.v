// AXI-Stream around the circuit '${name}': a row in, its result out, with back-pressure on both sides.
//
// The circuit itself cannot wait, so a row is taken only if there is room for its result: `reserved` counts the rows
// that were taken and whose results are not yet given away, in the circuit, in the memory and on the port. The memory
// holds ${depth} of them, the circuit is ${latency} cycles long: with a sink that is always ready, no cycle is lost.
// tlast goes with its row. Bits above those of a row are not read, those above a result are 0.
`default_nettype none

module ${name}_axis (
    input  wire aclk,
    input  wire aresetn,
    // Rows: ${in_width} bits in ${in_bytes} bytes.
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire [${in_high}:0] s_axis_tdata,
    /* verilator lint_on UNUSEDSIGNAL */
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,
    // Results: ${out_width} bits in ${out_bytes} bytes.
    output reg  [${out_high}:0] m_axis_tdata,
    output reg  m_axis_tvalid,
    input  wire m_axis_tready,
    output reg  m_axis_tlast
);

    wire rst = ~aresetn;
    wire core_ready, core_valid;
    wire [${core_high}:0] core_result;
    reg  [${index_bits}:0] reserved;
    // Counts of rows taken, of results that came, of results that left the memory: one more bit than a place in it.
    reg  [${index_bits}:0] rows_in, results_in, results_out;

    // A row is taken, a result leaves the memory for the port, a result is given away.
    wire room = reserved != ${count_bits}'d${depth};
    wire take = s_axis_tvalid & s_axis_tready;
    wire move = (results_out != results_in) & (~m_axis_tvalid | m_axis_tready);
    wire give = m_axis_tvalid & m_axis_tready;
    assign s_axis_tready = core_ready & room & aresetn;

    ${name} core (
        .clk(aclk),
        .rst(rst),
        .in_valid(s_axis_tvalid & room),
        .in_ready(core_ready),
        .in_row(s_axis_tdata[${in_row_high}:0]),
        .out_valid(core_valid),
        .out_row(core_result)
    );

    always @(posedge aclk) begin
        if (rst) reserved <= ${count_bits}'d0;
        else reserved <= reserved + {${index_bits}'d0, take} - {${index_bits}'d0, give};
    end

    // Results and tlast, in the order of the rows.
    reg [${core_high}:0] results [0:${depth_high}];
    reg lasts [0:${depth_high}];

    always @(posedge aclk) begin
        if (take) lasts[rows_in[${index_high}:0]] <= s_axis_tlast;
        if (core_valid) results[results_in[${index_high}:0]] <= core_result;
        if (rst) begin
            rows_in <= ${count_bits}'d0;
            results_in <= ${count_bits}'d0;
            results_out <= ${count_bits}'d0;
        end else begin
            rows_in <= rows_in + {${index_bits}'d0, take};
            results_in <= results_in + {${index_bits}'d0, core_valid};
            results_out <= results_out + {${index_bits}'d0, move};
        end
    end

    // The port is a register.
    always @(posedge aclk) begin
        if (rst) m_axis_tvalid <= 1'b0;
        else m_axis_tvalid <= move | (m_axis_tvalid & ~m_axis_tready);
        if (move) begin
            m_axis_tdata <= ${result};
            m_axis_tlast <= lasts[results_out[${index_high}:0]];
        end
    end

endmodule

`default_nettype wire
