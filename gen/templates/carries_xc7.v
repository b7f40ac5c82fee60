    for (k = 0; k < CELLS; k = k + 1) begin : four
      CARRY4 cells (.CI(carry[4*k]), .CYINIT(1'b0), .DI(gives[4*k +: 4]), .S(sums[4*k +: 4]),
                    .O(bits[4*k +: 4]), .CO(carry[4*k+1 +: 4]));
    end
